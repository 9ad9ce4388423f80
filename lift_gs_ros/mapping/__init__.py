"""RGB-D frames into a bounded, chunked voxel map."""
