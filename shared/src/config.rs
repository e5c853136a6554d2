//! `seam.yaml`: as written, then checked and compiled; every problem at once, each with its place.
