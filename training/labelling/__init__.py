"""From posed RGB-D sequences to shards of pseudo labels, in steps that can be stopped anywhere."""
