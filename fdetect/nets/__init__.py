"""Networks: where weights lie on disk, which encoder they make, and what is known of them.

`weights` looks at files alone and `denoiser` loads torch when it computes; every other module of this folder imports it.
"""
