"""What people and programs see of a run over many nodes: screens, the summary, files, the page."""
