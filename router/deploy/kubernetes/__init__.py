"""The manifests of fleets on EKS Auto Mode, from the same catalogue that routes to them."""
