/** Derives once for each object it is asked about, and forgets with the object. */
export function memoised<K extends object, V>(derive: (key: K) => V): (key: K) => V {
  const derived = new WeakMap<K, { readonly value: V }>()
  return (key) => {
    const known = derived.get(key)
    if (known !== undefined) return known.value
    const value = derive(key)
    derived.set(key, { value })
    return value
  }
}
