package demomodel

import "math"

// multiply sets out to the product of the matrix w, row by row, and x. Four
// rows go at a time: each value of x is loaded once for all of them, and their
// sums do not wait for each other.
func multiply(out, w, x []float32) {
	n := len(x)
	i := 0
	for ; i+4 <= len(out); i += 4 {
		rows := w[i*n : (i+4)*n]
		r0, r1, r2, r3 := rows[:n], rows[n:2*n], rows[2*n:3*n], rows[3*n:4*n]
		r0, r1, r2, r3 = r0[:len(x)], r1[:len(x)], r2[:len(x)], r3[:len(x)]
		var a, b, c, d float32
		for j, v := range x {
			a += r0[j] * v
			b += r1[j] * v
			c += r2[j] * v
			d += r3[j] * v
		}
		out[i], out[i+1], out[i+2], out[i+3] = a, b, c, d
	}
	for ; i < len(out); i++ {
		out[i] = dot(w[i*n:(i+1)*n], x)
	}
}

// dot returns the scalar product of two vectors of one length.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var even, odd float32
	i := 0
	for ; i+2 <= len(a); i += 2 {
		even += a[i] * b[i]
		odd += a[i+1] * b[i+1]
	}
	if i < len(a) {
		even += a[i] * b[i]
	}
	return even + odd
}

// add adds x to out.
func add(out, x []float32) {
	x = x[:len(out)]
	for i := range out {
		out[i] += x[i]
	}
}

// addScaled adds x times factor to out.
func addScaled(out, x []float32, factor float32) {
	x = x[:len(out)]
	for i := range out {
		out[i] += x[i] * factor
	}
}

// normalize sets out to x over its root mean square, times weight.
func normalize(out, x, weight []float32) {
	const epsilon = 1e-5 // as in training
	mean := dot(x, x) / float32(len(x))
	factor := float32(1 / math.Sqrt(float64(mean)+epsilon))
	for i, v := range x {
		out[i] = v * factor * weight[i]
	}
}

// softmax turns scores into weights that add up to one.
func softmax(x []float32) {
	highest := x[0]
	for _, v := range x {
		highest = max(highest, v)
	}
	var sum float32
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v - highest)))
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// gated sets gate to silu(gate) times up.
func gated(gate, up []float32) {
	for i, v := range gate {
		gate[i] = v / (1 + float32(math.Exp(float64(-v)))) * up[i]
	}
}
