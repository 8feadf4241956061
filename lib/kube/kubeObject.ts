/** What every object of the API has, as far as we rely on it. */
export interface KubeObject {
  metadata?: {
    name?: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
  };
}

/** A parameter that is undefined is left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** meta/v1 WatchEvent; ERROR is thrown instead. */
export interface WatchEvent<T extends KubeObject = KubeObject> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  object: T;
}

/** `namespace/name`, or the name alone of what is in no namespace. */
export function keyOf({ metadata = {} }: KubeObject): string {
  const { name = '', namespace } = metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}
