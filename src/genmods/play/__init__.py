"""The playground: trained models in the browser, by `genmods play`. Everything is served from this machine."""
