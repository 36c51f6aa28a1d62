//! Figures, each written as SVG and PNG.
