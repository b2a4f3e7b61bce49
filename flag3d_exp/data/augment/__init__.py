"""Random changes of training clips, one family a file; `conf/augment/*.yaml` combines them."""
