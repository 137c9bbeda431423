A weight is zeroed where its key is below the threshold, or equal to it and before the place that the run was told; both
come as parameters. 32 weights at once, one loop over rows, keys that NaN put last.

CHECK-LABEL: define void @kernel_0(
CHECK:       %param1 = load i64,
CHECK:       %param2 = load i64,
CHECK:       {{^}}row:
CHECK:       icmp slt i64 %vectors{{[0-9]*}}, 8
CHECK:       load <32 x i16>, ptr %{{.*}}, align 2, !alias.scope [[IN:![0-9]+]], !noalias [[OUT:![0-9]+]]
CHECK:       call <32 x float> @llvm.fabs.v32f32(
CHECK:       [[NAN:%.*]] = fcmp uno <32 x float>
CHECK:       [[KEY:%.*]] = select <32 x i1> [[NAN]], <32 x i32> <i32 2147483647, i32 2147483647,{{.*}}>, <32 x i32>
CHECK:       trunc i64 %param1 to i32
CHECK:       [[BELOW:%.*]] = icmp slt <32 x i32> [[KEY]], %splat
CHECK:       [[EQUAL:%.*]] = icmp eq <32 x i32>
CHECK:       sub i64 %param2,
CHECK:       [[BEFORE:%.*]] = icmp slt <32 x i32>
CHECK:       [[TIE:%.*]] = and <32 x i1> [[EQUAL]], [[BEFORE]]
CHECK:       [[CUT:%.*]] = or <32 x i1> [[BELOW]], [[TIE]]
CHECK:       select <32 x i1> [[CUT]], <32 x float> zeroinitializer, <32 x float>
CHECK:       store <32 x i16> %{{.*}}, ptr %{{.*}}, align 2, !alias.scope [[OUT]], !noalias [[IN]]
CHECK:       br label %row
CHECK-NEXT:  {{^}}}
