import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Image } from './imageArchive.ts';

/** Set to `loaded` by who has brought the images to a cluster of his. */
export const IMAGES_VARIABLE = 'SIDEKEY_E2E_IMAGES';
export const IMAGES_DIR = '.cache/images';

/** Writes the archive of each into a directory. Gives the files, such as DIR/sidekey.tar. */
export function writeImageFiles(dir: string, images: readonly Image[]): string[] {
  mkdirSync(dir, { recursive: true });
  return images.map(({ archive, name }) => {
    const file = join(dir, `${basename(name).replace(/:.*$/, '')}.tar`);
    writeFileSync(file, archive);
    return file;
  });
}

/** What to do with the files of a directory. */
export function howToLoad(dir: string): string {
  return [
    `Bring each FILE of ${dir} to every node, by what the cluster has:`,
    '  kind load image-archive FILE --name CLUSTER',
    '  k3d image import FILE --cluster CLUSTER',
    '  minikube image load FILE',
    '  ctr --namespace k8s.io images import FILE      on a node with containerd, as root',
    '  docker load --input FILE                       on a node whose runtime is Docker',
    `Then set ${IMAGES_VARIABLE}=loaded. After a change of the sources, do it again.`,
  ].join('\n');
}
