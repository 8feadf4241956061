import manifest from '../package.json' with { type: 'json' };

/** The version of Sidekey that runs. */
export const VERSION = manifest.version;
