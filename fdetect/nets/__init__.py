"""Networks: where weights lie on disk, which network they make, and what is known of them.

    weights.py, evidence.py, inventory.py    files: where they lie, what was shown of them, what there is
    catalogue.py, cards.py                   encoders: what is known of each, and of one that is here
    autoencoder_cards.py                     the same for autoencoders
    hub.py, importing.py, keymaps.py         how weights come here: downloaded, or turned from the authors' files
    architectures.py, encoders.py            encoders that run; network_noise.py disturbs a copy
    autoencoders.py, taef2.py                autoencoders that run
    own/, training.py                        small autoencoders of our own, and the one training loop
    distances.py, lpips.py                   how far a reconstruction is from its picture
    denoiser.py                              a map that needs weights
    memory.py                                chunks that fit into memory

Importing those of the first four lines, `autoencoders`, `distances`, `denoiser` or `own` loads no torch.
"""
