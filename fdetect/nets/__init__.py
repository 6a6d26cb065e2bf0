"""Networks: where weights lie on disk, which encoder they make, and what is known of them.

`weights` is light and looks at files alone; every other module of this folder imports torch.
"""
