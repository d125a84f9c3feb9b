"""Where runtimes come from beside the watched directory: files, URLs and GitHub, with copies of what was fetched."""
