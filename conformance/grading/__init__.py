"""The grader for courses: which ideas of convolution, pooling and linear a student's own functions hold."""
