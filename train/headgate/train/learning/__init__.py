"""One step of learning and its material: objectives, losses, batches, optimisers."""
