import { mkdirSync, writeFileSync } from 'node:fs';
import { cliReference } from './reference.ts';

/** Writes docs/reference/cli.md. */
const path = new URL('../docs/reference/cli.md', import.meta.url);
mkdirSync(new URL('.', path), { recursive: true });
writeFileSync(path, cliReference());
