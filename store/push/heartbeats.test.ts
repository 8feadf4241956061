import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Heartbeats } from './heartbeats.ts';
import type { NdjsonStream } from './ndjsonStream.ts';

let beats: number[];
const stream = (closed: (() => void)[] = []) =>
  ({
    heartbeat: () => beats.push(Date.now()),
    onClose: (listener: () => void) => closed.push(listener),
  }) as unknown as NdjsonStream;

beforeEach(() => {
  vi.useFakeTimers();
  beats = [];
});
afterEach(() => {
  vi.useRealTimers();
});

test('each stream gets one every five seconds, and those that were opened at once not all at once', () => {
  const heartbeats = new Heartbeats();
  for (let i = 0; i < 1_000; i += 1) heartbeats.add(stream());
  const openedMs = Date.now();
  vi.advanceTimersByTime(15_000);
  expect(beats.length).toBe(3_000);
  expect(beats[0]! - openedMs).toBeGreaterThanOrEqual(3_000);
  const atOnce = new Map<number, number>();
  for (const ms of beats) atOnce.set(ms, (atOnce.get(ms) ?? 0) + 1);
  expect(Math.max(...atOnce.values())).toBeLessThanOrEqual(100);
  heartbeats.close();
});

test('a closed stream gets none', () => {
  const heartbeats = new Heartbeats();
  const closed: (() => void)[] = [];
  heartbeats.add(stream(closed));
  for (const listener of closed) listener();
  vi.advanceTimersByTime(10_000);
  expect(beats).toEqual([]);
  heartbeats.close();
});
