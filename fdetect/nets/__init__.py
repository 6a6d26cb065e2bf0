"""Networks: where weights lie on disk, which encoder they make, and what is known of them.

`weights` looks at files alone, `denoiser` loads torch when it computes; every other module imports it at once.
"""
