//! Operators composed of others, because Meganeura's own are missing or wrong.

use crate::record::{Recorder, size32};

impl Recorder<'_> {
    /// Maxima at every second place of (outer, length, inner), made by a relu. Beyond the edge there is 0, which never
    /// exceeds what a relu made. The first of equal elements gets the gradient, as in `PyTorch`.
    pub fn halved(&mut self, x: u32, outer: usize, length: usize, inner: usize, kernel: usize, padding: usize) -> u32 {
        let (pairs, half) = (size32(outer * length / 2), length / 2 * inner);
        let flat = self.shaped(x, &[outer * length * inner]);
        let phases = [
            self.graph.split_a(flat, pairs, 1, 1, size32(inner)),
            self.graph.split_b(flat, pairs, 1, 1, size32(inner)),
        ]
        .map(|phase| self.graph.reshape(phase, &[outer, half]));
        let signed = |size: usize| i32::try_from(size).expect("sizes of tensors fit");
        let mut most = None;
        for place in (0..kernel).map(|at| signed(at) - signed(padding)) {
            let mut next = phases[usize::from(place.rem_euclid(2) == 1)];
            if place.div_euclid(2) != 0 {
                next = self.graph.shift_inner(next, -place.div_euclid(2) * signed(inner));
            }
            most = Some(match most {
                Some(most) => self.larger(most, next),
                None => next,
            });
        }
        most.expect("a kernel has a size")
    }

    /// a + relu(b - a)
    fn larger(&mut self, a: u32, b: u32) -> u32 {
        let minus = self.graph.neg(a);
        let more = self.graph.add(b, minus);
        let more = self.graph.relu(more);
        self.graph.add(a, more)
    }

    /// relu(x) - ½ |x| erfc(|x| / √2), which is x · Φ(x). Meganeura's own is the approximation by tanh.
    ///
    /// erfc is formula 7.1.26 of Abramowitz and Stegun; its error, 1.5e-7, is about that of float32. It is written as
    /// t (t⁴ + b₃ t³ + b₂ t² + b₁ t + b₀) exp(-½ x² + c) with t = 1 / (|x| + s) and s = √2 / p. So constants are
    /// added, as rows, and never multiplied.
    pub fn gelu(&mut self, x: u32) -> u32 {
        const A: [f64; 5] = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
        let s = 2f64.sqrt() / 0.327_591_1;
        let size = self.graph.abs(x);
        let shifted = self.plus(size, s);
        let t = self.graph.recip(shifted);
        let mut sum = self.plus(t, A[3] / (A[4] * s));
        for (power, degree) in [(2, 2), (1, 3), (0, 4)] {
            let product = self.graph.mul(sum, t);
            sum = self.plus(product, A[power] / (A[4] * s.powi(degree)));
        }
        let sum = self.graph.mul(sum, t);
        let square = self.graph.mul(x, x);
        let exponent = self.scaled(square, -0.5);
        let moved = self.plus(exponent, (0.5 * A[4] * s.powi(5)).ln());
        let power = self.graph.exp(moved);
        let mut half = self.graph.mul(sum, power); // ½ erfc(|x| / √2)
        if self.trains {
            half = self.graph.stop_gradient(half);
        }
        let (tail, most) = (self.graph.mul(size, half), self.graph.relu(x));
        let tail = self.graph.neg(tail);
        let made = self.graph.add(most, tail);
        if !self.trains {
            return made;
        }
        // So far the derivative is Φ(x). What follows adds x · φ(x) to it, and 0 to the value.
        let density = self.plus(exponent, -0.5 * std::f64::consts::TAU.ln());
        let density = self.graph.exp(density);
        let slope = self.graph.mul(x, density);
        let slope = self.graph.stop_gradient(slope);
        let sloped = self.graph.mul(x, slope);
        let value = self.graph.stop_gradient(sloped);
        let value = self.graph.neg(value);
        let nothing = self.graph.add(sloped, value);
        self.graph.add(made, nothing)
    }

    /// ½ x (1 + tanh(√(2 / π) (x + 0.044715 x³))). Version 0.3 gives its own the derivative of x · sigmoid(1.702 x).
    pub fn gelu_by_tanh(&mut self, x: u32) -> u32 {
        let square = self.graph.mul(x, x);
        let sum = self.plus(square, 1.0 / 0.044_715);
        let cube = self.graph.mul(sum, x);
        let inner = self.scaled(cube, 0.044_715 * std::f64::consts::FRAC_2_PI.sqrt());
        let tanh = self.graph.tanh(inner);
        let (sum, half) = (self.plus(tanh, 1.0), self.scaled(x, 0.5));
        self.graph.mul(sum, half)
    }

    fn scaled(&mut self, x: u32, number: f64) -> u32 {
        let shape = self.graph.node(x).ty.shape.clone();
        let factor = self.filled(number, &shape);
        self.graph.mul(x, factor)
    }

    /// A matrix with one number added to all elements.
    fn plus(&mut self, x: u32, number: f64) -> u32 {
        let columns = self.graph.node(x).ty.shape[1];
        let row = self.filled(number, &[columns]);
        self.graph.bias_add(x, row)
    }
}
