"""Raw chest X-rays in, sharded TFRecords and a manifest out (Apache Beam). Part of cxrflow."""
