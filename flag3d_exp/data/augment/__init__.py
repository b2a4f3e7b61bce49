"""Random changes of training clips, one kind per file; `conf/augment/*.yaml` combines them."""
