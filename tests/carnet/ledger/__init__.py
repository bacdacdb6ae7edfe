"""Tests of the transparency log's documents and proofs."""
