"""Shows in a terminal what a load balancer does: `python -m yinyang.watch URL`."""
