//! Strided views: an operator that moves no data records nothing.

/// The elements of a node in another order, times a factor.
#[derive(Clone, Debug)]
pub struct View {
    pub node: u32,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
    pub offset: usize,
    /// Not yet applied, so that the factor of a query can meet that of its attention.
    pub factor: f64,
}

impl View {
    /// All elements of a node in their order.
    pub fn new(node: u32, shape: &[usize]) -> Self {
        let mut strides = vec![1; shape.len()];
        for dim in (1..shape.len()).rev() {
            strides[dim - 1] = strides[dim] * shape[dim];
        }
        Self { node, shape: shape.to_vec(), strides, offset: 0, factor: 1.0 }
    }

    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn times(mut self, factor: f64) -> Self {
        self.factor *= factor;
        self
    }

    pub fn permute(&self, dims: &[usize]) -> Self {
        let (shape, strides) = dims.iter().map(|dim| (self.shape[*dim], self.strides[*dim])).unzip();
        Self { shape, strides, ..self.clone() }
    }

    pub fn slice(&self, dim: usize, start: usize, end: usize, step: usize) -> Self {
        let mut view = self.clone();
        view.offset += start * view.strides[dim];
        view.shape[dim] = (end - start).div_ceil(step);
        view.strides[dim] *= step;
        view
    }

    /// The view without a dimension of size 1.
    pub fn without(&self, dim: usize) -> Self {
        let mut view = self.clone();
        view.shape.remove(dim);
        view.strides.remove(dim);
        view
    }

    /// The view with dimensions of size 1 repeated, and new ones before them.
    pub fn expand(&self, shape: &[usize]) -> Self {
        let new = shape.len() - self.shape.len();
        let stride = |dim: usize| if dim < new || self.shape[dim - new] == 1 { 0 } else { self.strides[dim - new] };
        Self { shape: shape.to_vec(), strides: (0..shape.len()).map(stride).collect(), ..self.clone() }
    }

    /// (size, stride) of each run of dimensions that can be walked as one dimension.
    pub fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (size, stride) in self.shape.iter().copied().zip(self.strides.iter().copied()).filter(|(size, _)| *size > 1)
        {
            match runs.last_mut() {
                Some(outer) if outer.1 == size * stride => *outer = (outer.0 * size, stride),
                _ => runs.push((size, stride)),
            }
        }
        runs
    }

    /// Whether these are all the elements of a node of that size, in their order.
    pub fn is_whole(&self, size: usize) -> bool {
        self.offset == 0 && matches!(self.runs()[..], [] | [(_, 1)]) && self.size() == size
    }

    /// The view as rows of neighbours: their width, and the number of each in the node when it is cut in such rows.
    pub fn rows(&self, size: usize) -> (usize, Vec<u32>) {
        let mut runs = self.runs();
        let mut width = match runs.last() {
            Some((size, 1)) => *size,
            _ => 1,
        };
        let outer = if width > 1 { runs.len() - 1 } else { runs.len() };
        for number in runs[..outer].iter().map(|(_, stride)| *stride).chain([self.offset, size]) {
            width = greatest_divisor(width, number);
        }
        if width > 1 {
            let last = runs.len() - 1;
            runs[last] = (runs[last].0 / width, width);
        }
        let mut starts = vec![self.offset];
        for (size, stride) in runs {
            starts = starts.iter().flat_map(|start| (0..size).map(move |at| start + at * stride)).collect();
        }
        (width, starts.into_iter().map(|start| u32::try_from(start / width).expect("32 bits address it")).collect())
    }
}

fn greatest_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::View;

    #[test]
    fn heads_are_rows_of_their_width() {
        let heads = View::new(0, &[1, 4, 3, 2]).permute(&[0, 2, 1, 3]);
        assert_eq!((2, vec![0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]), heads.rows(24));
        assert!(heads.permute(&[0, 2, 1, 3]).is_whole(24));
    }

    #[test]
    fn a_slice_begins_where_its_rows_can() {
        let slice = View::new(0, &[6, 4]).slice(1, 2, 4, 1);
        assert_eq!((2, vec![1, 3, 5, 7, 9, 11]), slice.rows(24));
        assert!(!slice.is_whole(24));
    }

    #[test]
    fn what_is_repeated_has_no_stride() {
        let column = View::new(0, &[3, 1]).expand(&[2, 3, 2]);
        assert_eq!(vec![(2, 0), (3, 1), (2, 0)], column.runs());
        assert_eq!((1, vec![0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]), column.rows(3));
    }
}
