"""What people and programs see of an inspection: lines, JSON, the page of one image, the ranking of many."""
