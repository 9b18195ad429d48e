"""Where images come from: folders, masks, datasets, data sets by name."""
