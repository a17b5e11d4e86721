"""TMRL's ``config.json`` with every key that it knows, at its default."""

from __future__ import annotations

from typing import Any

CONFIG: dict[str, Any] = {
    "RUN_NAME": "SAC_4_imgs_pretrained",
    "RESET_TRAINING": False,
    "BUFFERS_MAXLEN": 500_000,
    "RW_MAX_SAMPLES_PER_EPISODE": 1000,
    "CUDA_TRAINING": True,
    "CUDA_INFERENCE": False,
    "VIRTUAL_GAMEPAD": True,
    "LOCALHOST_WORKER": True,
    "LOCALHOST_TRAINER": True,
    "PUBLIC_IP_SERVER": "0.0.0.0",
    "PASSWORD": "a-password-of-mine",
    "TLS": False,
    "TLS_HOSTNAME": "default",
    "TLS_CREDENTIALS_DIRECTORY": "",
    "NB_WORKERS": -1,
    "WANDB_PROJECT": "tmrl",
    "WANDB_ENTITY": "tmrl",
    "WANDB_KEY": "a-key-of-mine",
    "PORT": 55555,
    "LOCAL_PORT_SERVER": 55556,
    "LOCAL_PORT_TRAINER": 55557,
    "LOCAL_PORT_WORKER": 55558,
    "BUFFER_SIZE": 536_870_912,
    "HEADER_SIZE": 12,
    "MAX_EPOCHS": 10_000,
    "ROUNDS_PER_EPOCH": 100,
    "TRAINING_STEPS_PER_ROUND": 200,
    "MAX_TRAINING_STEPS_PER_ENVIRONMENT_STEP": 4.0,
    "ENVIRONMENT_STEPS_BEFORE_TRAINING": 1000,
    "UPDATE_MODEL_INTERVAL": 200,
    "UPDATE_BUFFER_INTERVAL": 200,
    "SAVE_MODEL_EVERY": 0,
    "MEMORY_SIZE": 1_000_000,
    "BATCH_SIZE": 256,
    "DEBUG_MODE": False,
    "ALG": {
        "ALGORITHM": "SAC",
        "LEARN_ENTROPY_COEF": False,
        "LR_ACTOR": 0.00001,
        "LR_CRITIC": 0.00005,
        "LR_ENTROPY": 0.0003,
        "GAMMA": 0.995,
        "POLYAK": 0.995,
        "TARGET_ENTROPY": -0.5,
        "ALPHA": 0.01,
        "REDQ_N": 10,
        "REDQ_M": 2,
        "REDQ_Q_UPDATES_PER_POLICY_UPDATE": 20,
        "OPTIMIZER_ACTOR": "adam",
        "OPTIMIZER_CRITIC": "adam",
        "BETAS_ACTOR": [0.997, 0.997],
        "BETAS_CRITIC": [0.997, 0.997],
        "L2_ACTOR": 0.0,
        "L2_CRITIC": 0.0,
    },
    "ENV": {
        "RTGYM_INTERFACE": "TM20FULL",
        "WINDOW_WIDTH": 256,
        "WINDOW_HEIGHT": 128,
        "IMG_WIDTH": 64,
        "IMG_HEIGHT": 64,
        "IMG_GRAYSCALE": True,
        "SLEEP_TIME_AT_RESET": 1.5,
        "IMG_HIST_LEN": 4,
        "LINUX_X_OFFSET": 64,
        "LINUX_Y_OFFSET": 70,
        "IMG_SCALE_CHECK_ENV": 1.0,
        "RTGYM_CONFIG": {
            "time_step_duration": 0.05,
            "start_obs_capture": 0.04,
            "time_step_timeout_factor": 1.0,
            "act_buf_len": 2,
            "reset_act_buf": True,
            "ep_max_length": 1000,
            "benchmark": False,
            "wait_on_done": True,
            "interface_kwargs": {"save_replays": False},
        },
        "REWARD_CONFIG": {
            "END_OF_TRACK": 100.0,
            "CONSTANT_PENALTY": 0.0,
            "CHECK_FORWARD": 500,
            "CHECK_BACKWARD": 10,
            "FAILURE_COUNTDOWN": 10,
            "MIN_STEPS": 70,
            "MAX_STRAY": 100.0,
        },
    },
    "__VERSION__": "0.6.0",
}


def changed(**changes: Any) -> dict[str, Any]:
    """The same with other values; ``ALG__GAMMA`` is GAMMA of ALG, and ... leaves a key out."""

    def set_in(tree: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
        name, *rest = path
        if rest:
            return {**tree, name: set_in(tree.get(name, {}), rest, value)}
        return {key: each for key, each in tree.items() if key != name} | ({} if value is ... else {name: value})

    config = CONFIG
    for key, value in changes.items():
        config = set_in(config, key.split("__") if not key.startswith("__") else [key], value)
    return config
