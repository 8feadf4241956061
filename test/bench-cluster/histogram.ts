/** Upper end of a bucket in seconds → how many were at most that. */
export type Histogram = ReadonlyMap<number, number>;

/** The buckets of a histogram in a text of Prometheus, of all its series that have those labels together. */
export function histogramOf(text: string, name: string, labels: readonly string[] = []): Map<number, number> {
  const buckets = new Map<number, number>();
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${name}_bucket{`) || !labels.every((label) => line.includes(label))) continue;
    const [, end, count] = /le="([^"]+)".*\} (\S+)$/.exec(line)!;
    const upper = end === '+Inf' ? Number.POSITIVE_INFINITY : Number(end);
    buckets.set(upper, (buckets.get(upper) ?? 0) + Number(count));
  }
  return buckets;
}

/** What came to it between two looks. */
export function since(before: Histogram, after: Histogram): Map<number, number> {
  return new Map([...after].map(([upper, count]) => [upper, count - (before.get(upper) ?? 0)]));
}

/** In which bucket that share lies, as `5–25 ms`, for what is in between nobody knows; undefined where nothing was counted. */
export function bucketAt(histogram: Histogram, share: number): { text: string; atMostMs: number } | undefined {
  const buckets = [...histogram].sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total === 0) return undefined;
  const index = buckets.findIndex(([, count]) => count >= total * share);
  const [lowMs, highMs] = [(buckets[index - 1]?.[0] ?? 0) * 1_000, buckets[index]![0] * 1_000];
  return { text: Number.isFinite(highMs) ? `${lowMs}–${highMs} ms` : `over ${lowMs} ms`, atMostMs: highMs };
}
