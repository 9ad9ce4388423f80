"""ROS 2 nodes: thin adapters around mapping and grounding."""
