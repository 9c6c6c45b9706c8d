"""What happens on the worst day: real processes killed, disks filled, clients and providers that break off."""
