-- quantize_to_bytevec and binary_quantize with a threshold.

-- by a quantile of the vector's own magnitudes: the smallest that 99 % of them do not exceed is 127
SELECT quantize_to_bytevec('[0.1,-0.2,0.3,0]'::vector), quantize_to_bytevec('[1e30,-2e30]'::vector), quantize_to_bytevec('[-1e-40]'::vector);
SELECT quantize_to_bytevec('[1,-2,3,100]'::vector, 0.75), quantize_to_bytevec('[1,-2,3,100]'::vector, 0.76), quantize_to_bytevec('[1,-2,3,100]'::vector, quantile => 1);
SELECT quantize_to_bytevec('[1,-2,3,-100]'::vector, 1e-300) AS smallest_magnitude_is_127;
SELECT quantize_to_bytevec('[0,0]'::vector) AS zero, quantize_to_bytevec('[0,0,0,-5]'::vector, 0.5) AS largest_where_the_quantile_is_zero;
SELECT quantize_to_bytevec(v, 0.99) = quantize_to_bytevec(v) AS default_quantile, quantize_to_bytevec(v) = quantize_to_bytevec(v::halfvec) AS half
FROM (SELECT array_agg(i / 4.0)::vector v FROM generate_series(-100, 100) i) x;
SELECT quantize_to_bytevec('[1,-2,4]'::halfvec), quantize_to_bytevec('[1,-2,4]'::bf16vec), quantize_to_bytevec('[1,-2,4]'::halfvec, 0.5);
SELECT quantize_to_bytevec('[1]'::vector, 0);
SELECT quantize_to_bytevec('[1]'::vector, 1.01);
SELECT quantize_to_bytevec('[1]'::vector, 'NaN');
SELECT quantize_to_bytevec(NULL::vector) IS NULL, quantize_to_bytevec('[1]'::vector, NULL) IS NULL;

-- between two bounds
SELECT quantize_to_bytevec('[-2,-1,-0.5,0,0.25,1,2]'::vector, -1, 1), quantize_to_bytevec('[0,5,10,-3]'::halfvec, 0, 10), quantize_to_bytevec('[1]'::bf16vec, lower => 0, upper => 2);
SELECT quantize_to_bytevec('[1]'::vector, 1, 1);
SELECT quantize_to_bytevec('[1]'::vector, 2, 1);
SELECT quantize_to_bytevec('[1]'::vector, '-Infinity', 1);
SELECT quantize_to_bytevec('[1]'::vector, 0, 'NaN');
\set VERBOSITY sqlstate
SELECT quantize_to_bytevec('[1]'::vector, 2, 1);
SELECT quantize_to_bytevec('[1]'::vector, -1);
\set VERBOSITY default

-- what distances between the results say: cosine the same, L2 and inner product scaled by 127 / bound
WITH data AS (
  SELECT i, array_agg(sin(i * j * 1.7) / 10 ORDER BY j)::vector v FROM generate_series(1, 40) i, generate_series(1, 200) j GROUP BY i
)
SELECT max(abs((quantize_to_bytevec(a.v) <=> quantize_to_bytevec(b.v)) - (a.v <=> b.v))) < 0.01 AS cosine,
  max(abs((quantize_to_bytevec(a.v, -0.1, 0.1) <-> quantize_to_bytevec(b.v, -0.1, 0.1)) * 0.1 / 127 - (a.v <-> b.v))) < 0.01 AS l2,
  max(abs((quantize_to_bytevec(a.v, -0.1, 0.1) <#> quantize_to_bytevec(b.v, -0.1, 0.1)) * (0.1 / 127) ^ 2 - (a.v <#> b.v))) < 0.01 AS inner_product
FROM data a, data b WHERE a.i < b.i;

-- bits above a threshold
SELECT binary_quantize('[0.1,0.5,0.6,-1]'::vector, 0.5), binary_quantize('[0.1,0.5,0.6,-1]'::halfvec, -2), binary_quantize('[0.1,0.5,0.6,-1]'::bf16vec, threshold => 0.2), binary_quantize('[1,5,6,-1]'::bytevec, 5);
SELECT binary_quantize(v, 0) = binary_quantize(v) AS zero_is_the_default, binary_quantize(v, 'Infinity') AS none, binary_quantize(v, '-Infinity') AS all FROM (SELECT '[0,-0,1,-1,0.5]'::vector v) x;
SELECT binary_quantize('[1]'::vector, NULL) IS NULL;
