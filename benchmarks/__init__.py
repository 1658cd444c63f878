from shared.quiet import without_banner

with without_banner():
    import keras  # noqa: F401
