"""Exchange: dataset versions leave as folders of Parquet with a card, and come in from such or the Hub."""
