//! Linear and diagonal models of optimizers.
