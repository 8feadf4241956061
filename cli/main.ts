import { enableCompileCache } from 'node:module';
import { COMPILE_CACHE } from './compileCache.ts';
import { EXIT } from './exitCodes.ts';

// Before anything large is loaded.
enableCompileCache(COMPILE_CACHE);
// Whoever reads our output may stop, as head does.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed),
);
process.stderr.on('error', () => {});
const { command } = await import('./command.ts');
// At once: a sidecar that is still starting must not hold us up, and ends with us.
process.exit(await command(process.argv.slice(2), process.env.SIDEKEY_PLUGIN === 'kubectl'));
