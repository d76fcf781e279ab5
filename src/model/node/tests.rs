//! The node at packet level.
