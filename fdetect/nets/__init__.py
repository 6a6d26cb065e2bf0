"""Networks: where weights lie on disk, which network they make, and what is known of them.

    weights.py, evidence.py, inventory.py    files: where they lie, what was shown of them, what there is
    catalogue.py, cards.py                   encoders: what is known of each, and of one that is here
    autoencoder_cards.py                     the same for autoencoders
    hub.py, importing.py, keymaps.py         how weights come here: downloaded, or turned from the authors' files
    architectures.py, encoders.py            encoders that run; network_noise.py disturbs a copy
    autoencoders.py, taef2.py                autoencoders that run
    own/                                     small autoencoders of our own
    detectors/, learning.py                  detector networks, and how they learn from pictures
    training.py                              the one training loop; schedule.py, checkpoints.py, learning_curve.py
    detector_keymaps.py, head_keymaps.py     detectors that others published: detector_cards.py, pretrained.py,
                                             clip_heads.py
    fusion.py                                branches of a fused model, and the gates between them
    explaining/                              which places of a picture a network's answer rests on
    distances.py, lpips.py                   how far a reconstruction is from its picture
    denoiser.py                              a map that needs weights; unprinting.py takes its residual away
    laundering.py                            round trips through autoencoders, as conditions and for aligned pairs
    gradient_attacks.py                      pixels moved along a network's gradient
    memory.py, threads.py                    chunks that fit into memory; one thread where sums must be alike

Importing those of the first four lines, `autoencoders`, `distances`, `denoiser`, `own`, `detectors`, `explaining`,
`fusion`, `schedule` or `detector_cards` loads no torch.
"""
