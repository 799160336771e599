"""R2Gen's base model: patches, a Transformer encoder, a Transformer decoder."""
