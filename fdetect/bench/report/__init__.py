"""What people read of a run: the HTML page, its charts, tables, LaTeX and the paragraph for a paper."""
