"""Images: content store, layers, pull, save, load, history, prune."""
