"""The HTML report of a run: plain values (`model.build_report`), then one self-contained file (`rendering.render`)."""
