libraympi_sources +=
