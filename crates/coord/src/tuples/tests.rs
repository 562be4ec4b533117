//! What a tuple space does, without a node.
