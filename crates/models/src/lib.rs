//! Decoder-only transformers and their optimizers.
