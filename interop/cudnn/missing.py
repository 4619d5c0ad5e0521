"""What cupy.cudnn had besides: names that programs may ask for, and are told that nothing is behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

_NAMES = frozenset(
    """
    rnn_forward_inference rnn_forward_inference_ex rnn_forward_training rnn_forward_training_ex rnn_backward_data
    rnn_backward_data_ex rnn_backward_weights rnn_backward_weights_ex get_rnn_lin_layer_matrix_params
    get_rnn_lin_layer_bias_params create_rnn_descriptor ctc_loss create_spatial_transformer_descriptor
    DropoutStates create_dropout_states create_dropout_descriptor set_dropout_descriptor
    get_handle reset_handles Descriptor get_data_type add_tensor create_tensor_descriptor create_tensor_nd_descriptor
    create_uninitialized_tensor_descriptor create_filter_descriptor create_convolution_descriptor
    create_pooling_descriptor create_activation_descriptor create_op_tensor_descriptor create_reduce_tensor_descriptor
    create_fused_ops_plan create_fused_ops_const_param_pack make_fused_ops_plan create_fused_ops_variant_param_pack
    fused_ops_execute set_fused_ops_const_param_pack_attribute get_fused_ops_const_param_pack_attribute
    set_fused_ops_variant_param_pack_attribute get_fused_ops_variant_param_pack_attribute
    """.split()
)


def refusal(name: str) -> Callable[..., NoReturn]:
    """What stands in for the function of this name and raises NotImplementedError when it is called; AttributeError
    where cupy.cudnn had no such function."""
    if name not in _NAMES:
        raise AttributeError(f"module 'backstride.interop.cudnn' has no attribute {name!r}")

    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise NotImplementedError(
            f"{name}: backstride.interop.cudnn has convolution, pooling, batch normalization, activations and softmax "
            "on arrays; RNN, CTC, spatial transformers, dropout states and cuDNN's descriptors are not there"
        )

    refuse.__name__ = refuse.__qualname__ = name
    return refuse
