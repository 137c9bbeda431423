/* SPDX-License-Identifier: MIT
 *
 * config.c: what a checkpoint says of its model, as the names config.x: the entries
 * of config.json, those of objects in it as config.x.y, and a GGUF's metadata under
 * its architecture: `llama.block_count` is config.block_count.
 */
#include "plan.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static Value value_of_json(Compiler *c, const json_t *json)
{
	Loc nowhere = {0};
	switch (json_typeof(json)) {
	case JSON_INTEGER:
		return value_int(nowhere, json_integer_value(json));
	case JSON_REAL:
		return value_real(nowhere, json_real_value(json));
	case JSON_TRUE:
	case JSON_FALSE:
		return value_bool(nowhere, json_is_true(json));
	case JSON_STRING:
		return value_string(nowhere, arena_printf(c->arena, "%s", json_string_value(json)));
	default:
		return (Value){.kind = VALUE_NONE, .dimension = ""};
	}
}

enum { MOST_LEVELS = 4 };

static void bind_object(Compiler *c, Scope *scope, json_t *object, const char *prefix, int level)
{
	const char *key;
	json_t *item;
	json_object_foreach(object, key, item)
	{
		const char *path = arena_printf(c->arena, "%s.%s", prefix, key);
		if (json_is_object(item) && level < MOST_LEVELS)
			bind_object(c, scope, item, path, level + 1);
		else if (!json_is_object(item) && !json_is_array(item))
			scope_bind(c, scope, name_of(c, path), value_of_json(c, item));
	}
}

static bool bind_config_json(Compiler *c, const Checkpoint *checkpoint, const char *path, Scope *scope)
{
	json_error_t error;
	if (!checkpoint->config)
		return true;
	json_t *root = json_loads(checkpoint->config, JSON_REJECT_DUPLICATES, &error);
	bool is_object = json_is_object(root);
	if (is_object)
		bind_object(c, scope, root, "config", 0);
	else
		diag_fatal(c, "%s: config.json: %s", path, root ? "is no object" : error.text);
	json_decref(root);
	return is_object;
}

static const char *meta_value(const Checkpoint *checkpoint, const char *key)
{
	for (int64_t i = 0; i < checkpoint->meta_count; i++)
		if (!strcmp(checkpoint->meta[i].key, key))
			return checkpoint->meta[i].value;
	return NULL;
}

static Value value_of_meta(const CkMeta *meta)
{
	Loc nowhere = {0};
	char *end;
	double number = strtod(meta->value, &end);
	if (!strcmp(meta->type, "bool"))
		return value_bool(nowhere, !strcmp(meta->value, "true"));
	if (!strcmp(meta->type, "string") || *end)
		return value_string(nowhere, meta->value);
	errno = 0;
	int64_t whole = meta->type[0] == 'f' ? 0 : strtoll(meta->value, &end, 10);
	bool is_whole = meta->type[0] != 'f' && !errno && !*end; /* a u64 may be more than that */
	return is_whole ? value_int(nowhere, whole) : value_real(nowhere, number);
}

static void bind_metadata(Compiler *c, const Checkpoint *checkpoint, Scope *scope)
{
	const char *architecture = meta_value(checkpoint, "general.architecture");
	size_t length = architecture ? strlen(architecture) : 0;
	for (int64_t i = 0; architecture && i < checkpoint->meta_count; i++) {
		const CkMeta *meta = &checkpoint->meta[i];
		if (!strncmp(meta->key, architecture, length) && meta->key[length] == '.' && strcmp(meta->type, "array"))
			scope_bind(
				c, scope, name_of(c, arena_printf(c->arena, "config%s", meta->key + length)), value_of_meta(meta));
	}
}

bool config_bind(Compiler *c, const Checkpoint *checkpoint, const char *path, Scope *scope)
{
	if (!bind_config_json(c, checkpoint, path, scope))
		return false;
	bind_metadata(c, checkpoint, scope);
	return true;
}

int64_t config_context(Compiler *c, const Scope *scope)
{
	static const char *const keys[] = {
		"config.max_position_embeddings", "config.n_positions", "config.n_ctx", "config.context_length"};
	Value value;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (scope_find(scope, name_of(c, keys[i]), &value) && value.kind == VALUE_INT)
			return value.integer;
	return 0;
}

const char *config_architecture(const Checkpoint *checkpoint, const Scope *scope, Compiler *c)
{
	Value value;
	const char *architecture = meta_value(checkpoint, "general.architecture");
	if (architecture)
		return architecture;
	return scope_find(scope, name_of(c, "config.model_type"), &value) && value.kind == VALUE_STRING ? value.text : NULL;
}
