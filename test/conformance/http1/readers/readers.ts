import { startNginxReader } from './nginx.ts';
import { startNodeReader } from './node.ts';
import type { StartReader } from './reader.ts';

/** Those whose reading ours is compared with, by the names that the corpus has for them. */
export const READERS: Readonly<Record<string, StartReader>> = { node: startNodeReader, nginx: startNginxReader };
