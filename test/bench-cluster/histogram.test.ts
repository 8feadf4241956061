import { expect, test } from 'vitest';
import { bucketAt, histogramOf, since } from './histogram.ts';

const text = (first: number, second: number, all: number) => `
# HELP calls
calls_bucket{name="a",le="0.005"} ${first}
calls_bucket{name="a",le="0.1"} ${second}
calls_bucket{name="a",le="+Inf"} ${all}
calls_bucket{name="b",le="0.005"} 1000
calls_sum{name="a"} 7
other_bucket{name="a",le="0.005"} 1000
`;

test('what came between two looks is told by the bucket that it lies in', () => {
  const looks = [text(10, 10, 10), text(60, 109, 110)].map((one) => histogramOf(one, 'calls', ['name="a"']));
  const between = since(looks[0]!, looks[1]!);
  expect(bucketAt(between, 0.5)).toEqual({ text: '0–5 ms', atMostMs: 5 });
  expect(bucketAt(between, 0.99)).toEqual({ text: '5–100 ms', atMostMs: 100 });
  expect(bucketAt(between, 1)).toEqual({ text: 'over 100 ms', atMostMs: Number.POSITIVE_INFINITY });
});

test('series of several processes are one', () => {
  const both = histogramOf(text(1, 1, 1), 'calls');
  expect(both.get(0.005)).toBe(1001);
});

test('where nothing was counted nothing is said', () => {
  expect(
    bucketAt(since(histogramOf(text(1, 2, 3), 'calls'), histogramOf(text(1, 2, 3), 'calls')), 0.5),
  ).toBeUndefined();
});
