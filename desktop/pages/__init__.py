"""One folder a page: page (widgets), presenter (logic without Qt), model (item model)."""
